"""What tools/generate.py makes of openapi.yaml."""
