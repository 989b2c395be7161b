"""What `export` puts beside the ONNX file: a script that answers for files without attn and torch."""
