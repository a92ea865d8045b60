"""What several tests share: tables of systems and configs, made data, made runs, closed forms."""
