"""The systems that HiVLP is compared with, built from transformers' blocks in the shapes of their papers."""
