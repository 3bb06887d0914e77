"""How good models are: several side by side on labelled pictures and on unlabelled clips."""
