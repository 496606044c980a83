"""Opens models. Knows no analysis, no Gradio, no Plotly."""
