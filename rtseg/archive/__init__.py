"""Drives and archives of them: a dashcam's file to video, tables, clips and a summary; folders of files, resumably."""
