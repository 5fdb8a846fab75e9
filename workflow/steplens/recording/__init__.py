"""Stages that fill activation stores."""
