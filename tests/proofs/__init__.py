"""Long runs over the whole project (soak, storm, mutations, every errno), and short runs of them as tests."""
