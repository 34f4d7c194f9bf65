"""What a run says: tables and a page."""
