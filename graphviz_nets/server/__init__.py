"""The live editor: a page on 127.0.0.1 with the text of a prototxt and the drawing of it, side by side."""
