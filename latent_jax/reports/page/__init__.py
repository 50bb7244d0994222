"""One self-contained static page of a study: tables, figures, samples and segmentations."""

from latent_jax.reports.page.parts import BrowserCode, Cut, Page, Segmentation
from latent_jax.reports.page.render import render, write_page
from latent_jax.reports.page.study import study_page

__all__ = ["BrowserCode", "Cut", "Page", "Segmentation", "render", "study_page", "write_page"]
