"""Tests of papers' own claims: one file a paper."""
