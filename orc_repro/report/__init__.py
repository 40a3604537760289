"""Results as files, statistics over seeds, tables and figures; reads files only."""
