"""What every room uses: errors, whole files, optional imports. Imports no other room."""
