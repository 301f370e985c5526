"""Studies: the paper's Table 1 trained, tested and named in one report, from one TOML file each."""
