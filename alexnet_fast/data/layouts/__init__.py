"""Published layouts of data sets whose labels do not stand in folder names alone; one file a layout."""
