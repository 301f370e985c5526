"""Studies: the paper's Table 1 trained, tested and reported, from one TOML file each."""
