"""The Review page: queue, charts, studies, import and export."""

from demo.pages.review.page import review_page

__all__ = ["review_page"]
