"""How the specialist learns from annotated and unannotated cases."""
