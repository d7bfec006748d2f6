"""Stores: where items and their vectors are kept and searched."""
