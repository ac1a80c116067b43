"""Metrics of stylized pictures: painted score, style and content distances, FID, KID; contact sheets and studies."""
