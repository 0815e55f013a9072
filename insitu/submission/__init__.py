"""Jobs for the schedulers of sites: scripts that run a case, and run on where a job's time ended before it."""

from insitu.submission.job import Job
from insitu.submission.options import add_options, job_of
from insitu.submission.sites import Site, find_site, known_sites

__all__ = ["Job", "Site", "add_options", "find_site", "job_of", "known_sites"]
