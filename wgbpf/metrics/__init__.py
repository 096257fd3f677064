"""What wgbpf tells Prometheus: one table of names, one snapshot, one collector."""
