"""One planted defect a file: `# DEFECT` marks its line, `# OTHER` the second line of a conflict."""
