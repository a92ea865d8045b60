"""gallery: paper.py has what is run, planes.py what is measured, pictures.py the pictures."""
