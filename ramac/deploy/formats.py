"""Files that hold a traced policy: `.onnx` for ONNX Runtime, `.pt2` for torch alone."""

import contextlib
import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from ramac.errors import InputError

Runner = Callable[[Mapping[str, np.ndarray]], np.ndarray]  # inputs by name, [B, ...] each -> action [B, A]
KEY = "ramac"  # of the description in a file's own metadata
PACKAGES = ("onnx", "onnxruntime", "onnxscript")


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep the exporters' progress, logs and warnings off the terminal inside the block."""
    before = logging.root.manager.disable
    out = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def searchsorted(sorted_sequence: Tensor, values: Tensor, **_: Any) -> Tensor:
    """torch.searchsorted in operators that ONNX has: sorted [*b, N], values [*b, L] -> [*b, L], ties to the left."""
    return (sorted_sequence.unsqueeze(-2) < values.unsqueeze(-1)).sum(-1)


class Onnx:
    """ONNX with dynamic batch size; `opset` is the version of its operators, by default torch's own choice."""

    def __init__(self, opset: int | None = None) -> None:
        for package in PACKAGES:
            try:
                import_module(package)  # an extra: most users need none of it
            except ImportError as error:
                text = f"an .onnx file needs {', '.join(PACKAGES)}, and {package} is not installed"
                raise InputError(f"{text}: pip install 'ramac[onnx]'") from error
        newest = import_module("onnx").defs.onnx_opset_version()
        if opset is not None and not (type(opset) is int and 1 <= opset <= newest):
            raise InputError(f"opset must be a whole number from 1 to {newest}, got {opset!r}")
        self.opset = opset

    def encode(self, program: ExportedProgram, description: Mapping[str, Any]) -> bytes:
        """The file's content. Raises InputError that names an operator which ONNX, or the opset, does not have."""
        onnx: Any = import_module("onnx")  # an extra
        known = torch.export.default_decompositions() | {torch.ops.aten.searchsorted.Tensor: searchsorted}
        options: dict[str, Any] = {"input_names": list(description["inputs"]), "output_names": ["action"]}
        if self.opset is not None:
            options["opset_version"] = self.opset
        try:
            with silenced():
                program = program.run_decompositions(known)
                found = torch.onnx.export(program, dynamo=True, verbose=False, external_data=False, **options)
        except Exception as error:  # the exporter's own errors have no public class
            raise InputError(f"ONNX cannot hold this policy{missing(error)}; a .pt2 file can") from error
        model: Any = found.model_proto if found is not None else None
        (version,) = {part.version for part in model.opset_import if part.domain in ("", "ai.onnx")}
        if self.opset not in (None, version):
            text = f"opset={self.opset} cannot hold this policy{lost(onnx, model, self.opset)}"
            raise InputError(f"{text}; opset={version} can")
        onnx.helper.set_model_props(model, {KEY: json.dumps(description)})
        model.producer_name = "ramac"
        return model.SerializeToString()

    def runner(self, content: bytes) -> Runner:
        """The program under ONNX Runtime, with as many threads as torch."""
        onnxruntime: Any = import_module("onnxruntime")  # an extra
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting is no work
        try:
            session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        except Exception as error:  # its errors have no public base class
            reason = f"ONNX Runtime {onnxruntime.__version__} cannot run this policy: {one_line(error)}"
            raise InputError(f"{reason}; a .pt2 file can, or an older opset=") from error

        def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
            return np.asarray(session.run(["action"], dict(inputs))[0])

        return run


class PT2:
    """torch.export's archive; it runs wherever torch does, without this library."""

    def __init__(self, opset: int | None = None) -> None:
        if opset is not None:
            raise InputError(f"opset={opset} is a setting of .onnx files, a .pt2 file has none")

    def encode(self, program: ExportedProgram, description: Mapping[str, Any]) -> bytes:
        """The file's content."""
        buffer = io.BytesIO()
        with silenced():
            torch.export.save(program, buffer, extra_files={f"{KEY}.json": json.dumps(description)})
        return buffer.getvalue()

    def runner(self, content: bytes) -> Runner:
        """The program under torch."""
        with silenced():
            module = torch.export.load(io.BytesIO(content)).module()

        @torch.no_grad()
        def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
            context = {name: torch.from_numpy(value) for name, value in inputs.items()}
            given = [context.pop(name) for name in ("observation", "noise") if name in context]
            return module(*given, **({"context": context} if context else {})).numpy()

        return run


FORMATS: dict[str, type[Onnx] | type[PT2]] = {".onnx": Onnx, ".pt2": PT2}


def one_line(error: Exception) -> str:
    """The beginning of an error's text, in one line."""
    return " ".join(str(error).split())[:300]


def missing(error: BaseException | None) -> str:
    """The operator that the exporter has no ONNX for, in words; nothing where its errors do not tell."""
    while error is not None:
        if found := re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(error)):
            return f": it has no operator for {found[1]}"
        error = error.__cause__
    return ""


def lost(onnx: Any, model: Any, opset: int) -> str:
    """The operator that ONNX cannot convert to an opset, in words; nothing where its error does not tell."""
    try:
        onnx.version_converter.convert_version(model, opset)
    except Exception as error:
        found = re.search(r"[Nn]o [Aa]dapter.* for (\w+)", str(error))
        return f": {found[1]} cannot be converted to it" if found else ""
    return ""
