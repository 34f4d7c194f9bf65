"""Text that is burnt in: subtitles, titles, tickers."""
