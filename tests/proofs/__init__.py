"""Long runs over the whole project (soak, storm, mutations, figures, every errno), and short runs of them as tests."""
