"""What the files of `defects/` should have been; `# BENIGN` marks a line that is worth a remark and no more."""
