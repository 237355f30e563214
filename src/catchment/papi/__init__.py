"""The signed REST face: Binance's Portfolio Margin API, on its wire format."""
