"""Reproductions of published results: machinery (harness), experiments of several papers (shared), and the papers."""
