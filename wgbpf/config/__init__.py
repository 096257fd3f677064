"""Configuration as text: the wg(8) file, the UAPI protocol, wgbpf.toml. No sockets, no processes."""
