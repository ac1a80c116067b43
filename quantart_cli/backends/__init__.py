"""What computes networks: torch, or OpenVINO on a CPU."""
