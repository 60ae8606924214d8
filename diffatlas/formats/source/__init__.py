"""Where runs can come from: a folder, a zip, or an address on the web. Nothing that comes is believed."""
