"""Studies: the paper's Table 1 trained, tested and told in one report, from one TOML file each."""
