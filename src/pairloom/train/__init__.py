"""Optimiser steps, checkpoints, several processes. Never says "image"."""
