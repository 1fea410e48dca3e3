"""Throwaway hosts on this machine: containers that run systemd, sshd and apt, with addresses of their own."""
