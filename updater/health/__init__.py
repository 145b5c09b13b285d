"""Health: how a live object is, by what it says about itself. Rules by kind; nothing here asks a cluster."""
