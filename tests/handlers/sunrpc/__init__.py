"""Sun RPC: XDR, and the language that declares its types and programs."""
