"""One run and its folder: configuration, recording, resuming, evaluating again."""
