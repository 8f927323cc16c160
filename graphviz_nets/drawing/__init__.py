"""What is shown (Diagram), where (layout), and as which shapes (Scene)."""
