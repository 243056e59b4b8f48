"""What launches were counted to do, held against what a device can do: bounds, a table and a chart."""
