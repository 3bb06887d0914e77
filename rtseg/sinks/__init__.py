"""Where outputs go: video files, folders of pictures and masks, records, or nowhere; one module a kind."""
