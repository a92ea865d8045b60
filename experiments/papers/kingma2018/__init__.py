"""kingma2018: paper.py has what is run, closed_forms.py the models beside it."""
