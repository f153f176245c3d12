// A browser starts no worker from file://, so the search runs in a hidden frame of the page there.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.documentElement.append(frame)
      const inner = (this.inner = frame.contentWindow)
      const load = source => new Promise((done, failed) => {
        const script = Object.assign(inner.document.createElement("script"), { src: source, onload: done, onerror: failed })
        inner.document.documentElement.append(script)
      })
      inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      inner.importScripts = (...urls) => urls.reduce((last, each) => last.then(() => load(each)), Promise.resolve())
      this.ready = load(url)
    }
    postMessage(data) {
      this.ready.then(() => this.inner.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {}
  }
}
