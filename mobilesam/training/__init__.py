"""Training: promptable training from masks, decoupled distillation from a teacher.

Imports :mod:`mobilesam` only. What comes out is an ordinary checkpoint that every other room loads.
"""
