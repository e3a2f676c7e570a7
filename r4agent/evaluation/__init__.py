"""Evaluation: how well a policy does, with controls and intervals.

Promises: what is measured is the product's own graph; a run that failed is never counted as a wrong answer;
a killed evaluation goes on where it was. Does not: tune anything, or draw (the page does).
"""
