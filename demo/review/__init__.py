"""The Review page: the queue, charts, studies, and what goes in and out of the store."""

from demo.review.page import review_page

__all__ = ["review_page"]
