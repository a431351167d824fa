"""What makes the players of a game server lag: each mechanism on its own, and twins without it."""
