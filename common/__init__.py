"""What every room uses: errors, whole files, locks, optional imports. Imports no other room."""
