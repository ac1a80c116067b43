"""Paints many pictures in one run.

inputs and walking find the pictures, plan and naming choose the outputs, run compares them with the ledger of the
output folder, pipeline or ray_executor paints what is due by the steps in job, and run writes each result.
"""
