"""Visual rumination for text-rich video, as one LangGraph graph."""
__version__ = "0.1.0"
