"""The pages Ask, Results and Review, and what they share."""
